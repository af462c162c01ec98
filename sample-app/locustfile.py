"""A shopper at the storefront, as an ordinary Locust file; it knows nothing of experiments.

locust -f sample-app/locustfile.py --host http://NODE:NODEPORT
"""

from locust import HttpUser, between, task


class Shopper(HttpUser):
    wait_time = between(0.1, 0.5)

    @task
    def buy(self) -> None:
        with self.client.get("/", name="buy", catch_response=True) as response:
            if response.ok and "Order" not in response.text:
                response.failure("the page shows no order")

"""What runs inside the traffic process. Only `traffic.child` imports it, after Locust: everything here is gevent's."""

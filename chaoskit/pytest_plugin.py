"""The pytest plugin's place in every pytest run of an environment that has chaoskit. It defines nothing yet and imports nothing."""

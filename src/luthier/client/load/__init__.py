"""How much load an endpoint carries: requests at times of their own, more and more of them, until an objective no longer holds."""

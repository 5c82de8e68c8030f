"""What a measurement is, and how it is computed. Knows Keras, no tracker."""

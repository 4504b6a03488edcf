"""Published models as Linen modules: the inputs and outputs of the original libraries."""

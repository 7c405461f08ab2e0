"""The facts that ``orcha doctor`` gathers, and the faults that follow from them."""

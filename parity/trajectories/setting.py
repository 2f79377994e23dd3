"""What both sides are told: the sizes of the data and the network, the optimizer's rates, the losses' weights."""

STEPS, BATCH, CLASSES, SEED = 200, 32, 10, 0
# The sides differ, so that swapped ones show. Their product is a power of two, so that CutMix's adjusted λ, a number of
# pixels over it, is exact in float32: ours has that dtype even where the images are float64, the definition's has not.
HEIGHT, WIDTH, CHANNELS, WIDTHS = 8, 16, 3, (8, 16)
# Fast enough that roundings grow, and not so fast that nothing is learned.
LEARNING_RATE, MOMENTUM = 0.328125, 0.9375
# The hinge of the energy loss is the one kink in all this, and a rounding that pushes a pair over it has an effect out
# of all proportion. With this margin some pairs are past it and some not, and none is so near.
ALPHA, LAMBDA_OE, LAMBDA_ENERGY, MARGIN = 1.0, 0.5, 0.1, 3.0

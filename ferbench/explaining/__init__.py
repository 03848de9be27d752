"""Looking into a model: where a class is seen, what the features look like, which mistakes it makes.

maps      reading a layer's output as maps over frames and pixels: convolutions, tokens, frames in the batch
layers    which layer is looked at, found by watching one forward pass
cams      class activation maps, by the formulas of the library grad-cam
features  what goes into the head of a model, and its logits
embedding features in two dimensions, and how well they keep classes apart as numbers
seen      the frames of a sample as the model sees them, and as people do
figures, cam_figure, scatter_figure, strip_figure, page    what is shown

Importing this package imports no torch.
"""

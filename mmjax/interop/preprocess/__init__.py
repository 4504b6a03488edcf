"""From a user's files to the inputs of a pretrained model, as the checkpoint's own files say."""

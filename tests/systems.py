"""What tests of the systems share: their names, and the images that they are made for."""

from ablation.family import family_design, load_family, source_of

FASHION = {"channels": 1, "resolution": 28, "classes": 10}
CIFAR = {"channels": 3, "resolution": 32, "classes": 100}
IMAGENET = {"channels": 3, "resolution": 224, "classes": 1000}
PLACES = {
    "vgg": "vgg",
    "wrn": "wrn",
    "grouped": "grouped",
    "ensemble": "ensemble",
    "inception_v3": "inception",
    "inception_v4": "inception",
    "inception_resnet_v2": "inception",
}


def name_of(system):
    return f"ablation.systems.{PLACES[system]}:{system}"


def system(name):
    return load_family(name_of(name))


def design_of(name, knobs, image):
    return family_design(name_of(name), knobs, source_of(name_of(name)), **image)


def numbers(price):
    return price.params, price.macs, price.activations

"""Classes of several files: their words and numbers, alike in all."""

from __future__ import annotations

from dataclasses import replace

from signs_lightning.data.image_set import ImageSet
from signs_lightning.data.labels import number_words
from signs_lightning.errors import InputError


def check_names_of_numbers(image_sets: list[ImageSet], words: list[str] | None) -> None:
    """Check that files of class numbers list the classes, where a model was trained on words.

    Raises:
        InputError: one does not.
    """
    if words == [str(k) for k in range(len(words or ()))]:
        return
    for images in image_sets:
        if images.words is None and images.class_names is None:
            raise InputError(
                f"The model was trained on words, and {images.name} has class numbers and no list "
                "of names. Write the words there in place of the numbers; or list them as a "
                "dataset 'list_classes', where the numbers follow the model's order."
            )


def check_numbering(image_sets: list[ImageSet], class_names: list[str] | None) -> None:
    """Check that it is known which word is which number, where files have either.

    Raises:
        InputError: it is not.
    """
    with_words = [images for images in image_sets if images.words is not None]
    with_numbers = [images for images in image_sets if images.words is None]
    is_known = class_names or listed_names(image_sets) or any(s.class_names for s in with_numbers)
    digits = [str(k) for k in range(max(images.num_classes for images in image_sets))]
    is_known = is_known or all(images.class_names == digits for images in with_words)
    if with_words and with_numbers and not is_known:
        raise InputError(
            f"{with_words[0].name} has classes by name, {with_numbers[0].name} by number, and "
            "nothing says which name has which number. Give all names in the order of their "
            "numbers with `--data.class_names '[NAME0,NAME1]'`."
        )


def number_alike(image_sets: list[ImageSet], class_names: list[str] | None) -> list[ImageSet]:
    """Give files whose labels are words the same classes: those listed, or the words sorted.

    Args:
        image_sets: of one role.
        class_names: the K names, where they are known.

    Raises:
        InputError: a word is none of the names.
    """
    words = {word for images in image_sets if images.words is not None for word in images.words}
    names = class_names or listed_names(image_sets) or sorted(words)
    return [
        images
        if images.words is None or images.class_names == names
        else replace(
            images,
            labels=number_words(images.name, images.words, names),
            class_names=list(names),
            num_classes=len(names),
        )
        for images in image_sets
    ]


def listed_names(image_sets: list[ImageSet]) -> list[str] | None:
    """Return the class names of files of words that have more to say than these words, or None."""
    words = {word for images in image_sets if images.words is not None for word in images.words}
    for images in image_sets:
        names = images.class_names
        if images.words is not None and names not in (sorted(set(images.words)), sorted(words)):
            return names
    return None

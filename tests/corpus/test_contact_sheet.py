import numpy as np

from corpus.contact_sheet import contact_sheet


def test_images_stand_in_rows_under_their_order() -> None:
    images = np.zeros((5, 4, 4, 3), np.uint8)
    images[4] = 255
    sheet = np.asarray(contact_sheet(images, columns=2, cell=10))
    assert sheet.shape == (3 * 13 + 3, 2 * 13 + 3, 3)
    assert sheet[3 + 2 * 13 + 5, 8].tolist() == [255, 255, 255]  # fifth image: third row, first column
    assert sheet[8, 8].tolist() == [0, 0, 0]


def test_grey_images_and_captions() -> None:
    plain = contact_sheet(np.zeros((1, 4, 4, 1), np.uint8))
    captioned = contact_sheet(np.zeros((1, 4, 4), np.uint8), ["any, subdural"])
    assert captioned.height > plain.height

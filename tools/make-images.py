#!/usr/bin/env python3
"""Make the sample files of images/ (needs Debian's python3-pil). Each run makes the same bytes.

What is special about each one is told in images/README.md.
"""
import io
import pathlib

from PIL import Image, ImageDraw

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "images"


def picture(width, height):
    """Some rings on a slope of colour: small as a JPEG, yet with detail in every block."""
    slope = Image.linear_gradient("L").resize((width, height))
    image = Image.merge("RGB", (slope, slope.transpose(Image.FLIP_TOP_BOTTOM), slope.rotate(90)))
    draw = ImageDraw.Draw(image)
    for radius in range(20, max(width, height), 40):
        box = [width // 3 - radius, height // 3 - radius, width // 3 + radius, height // 3 + radius]
        draw.ellipse(box, outline=(250, 250, 250), width=3)
    return image


def encoded(image, kind="JPEG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def jpeg(width, height, **options):
    return encoded(picture(width, height), quality=60, **options)


def scan_starts(data):
    """Where the compressed data begin: after the header of the first scan (ITU-T T.81 B.2.3)."""
    sos = data.index(b"\xff\xda")
    return sos + 2 + int.from_bytes(data[sos + 2 : sos + 4], "big")


def truncated(data):
    """The second half of the picture never arrived."""
    start = scan_starts(data)
    return data[: start + (len(data) - start) // 2]


def corrupt(data):
    """In the middle of the scan, 256 ones in a row: no Huffman code is all ones (T.81 C), so no
    encoder writes them. (ff 00 is how the byte ff is written in a scan.) The length is unchanged."""
    start = scan_starts(data)
    middle = start + (len(data) - start) // 2
    return data[:middle] + b"\xff\x00" * 32 + data[middle + 64 :]


def main():
    good = jpeg(640, 480)
    files = {
        "good.jpg": good,
        "foo": good,
        "good-progressive.jpg": jpeg(640, 480, progressive=True),
        "good-1000x1000.jpg": jpeg(1000, 1000),
        "too-wide.jpg": jpeg(1200, 800),
        "too-high.jpg": jpeg(800, 1200),
        "too-big.jpg": jpeg(1200, 1200),
        "png-named.jpg": encoded(picture(64, 64).quantize(16), "PNG"),
        "text.jpg": b"This is a line of text, and no image at all.\n",
        "truncated.jpg": truncated(good),
        "corrupt.jpg": corrupt(good),
        "empty.jpg": b"",
    }
    for name, data in files.items():
        (FOLDER / name).write_bytes(data)
        print(f"{len(data):7d}  {name}")


if __name__ == "__main__":
    main()

"""Makes the pictures that the tests need, so that each file's one peculiarity can be read here.

The JPEGs are flat gray, baseline (ITU-T T.81, SOF0), one component. Their Huffman tables hold one code
each: "0" is a DC difference of nothing, "0" is the end of the block. So a block of 8 x 8 is two zero bits,
and every "1" in the scan before its end is damage.
"""
import os
import struct
import zlib

SOF0, SOF1_12BIT, SOF3_LOSSLESS, SOF9_ARITHMETIC = 0xC0, 0xC1, 0xC3, 0xC9


def segment(marker, payload):
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def jpeg_head(width, height, frame=SOF0, precision=8):
    return b"".join((
        b"\xff\xd8",
        segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
        segment(0xDB, b"\0" + bytes([16] * 64)),
        segment(frame, struct.pack(">BHHBBBB", precision, height, width, 1, 1, 0x11, 0)),
        segment(0xC4, b"\x00" + bytes([1] + [0] * 15) + b"\0"),
        segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0"),
        segment(0xDA, b"\1\1\0\0\x3f\0")))


def jpeg_scan(width, height):
    bits = 2 * -(-width // 8) * -(-height // 8)
    whole, rest = divmod(bits, 8)
    return bytes(whole) + (bytes([0xFF >> rest]) if rest else b"")


def jpeg(width, height, frame=SOF0, precision=8, damage=None):
    scan = bytearray(jpeg_scan(width, height))
    if damage is not None:
        scan[damage] = 0xFE    # codes that no table has
    return jpeg_head(width, height, frame, precision) + bytes(scan) + b"\xff\xd9"


def png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = (b"\0" + b"\x80" * width) * height
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def gif(width, height):
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b";"


def bmp(width, height):
    return (b"BM" + struct.pack("<IHHI", 58, 0, 0, 54) +
            struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 4, 0, 0, 0, 0) + bytes(4))


def webp(width, height):
    frame = b"\x9d\x01\x2a" + struct.pack("<HH", width, height)
    data = struct.pack("<I", 0x10)[:3] + frame + bytes(8)    # a key frame (RFC 6386, 9.1)
    return (b"RIFF" + struct.pack("<I", 4 + 8 + len(data) + len(data) % 2) + b"WEBPVP8 " +
            struct.pack("<I", len(data)) + data + bytes(len(data) % 2))


def fill(folder):
    """The root that most tests share. What a name says is all that is special about its file."""
    big = jpeg(1001, 1002)
    files = {
        "good.jpg": jpeg(1000, 1000),
        "small.jpg": jpeg(64, 48),
        "no-extension": jpeg(1000, 600),
        "too-wide.jpg": jpeg(1001, 1000),
        "too-high.jpg": jpeg(1000, 1001),
        "too-wide-and-high.jpg": big,
        "png-in-disguise.jpg": png(64, 48),
        "large.png": png(1001, 1002),
        "large.gif": gif(1001, 1002),
        "large.bmp": bmp(1001, 1002),
        "large.webp": webp(1001, 1002),
        "text.jpg": b"Not a picture, only words.\n" * 20,
        "empty.jpg": b"",
        "one-byte.jpg": b"\xff",
        "cut-in-header.jpg": jpeg(64, 48)[:60],
        "cut-in-scan.jpg": jpeg(1000, 1000)[:2000],
        "large-and-cut.jpg": big[:2000],
        "corrupt.jpg": jpeg(1000, 1000, damage=1000),
        "large-and-corrupt.jpg": jpeg(1001, 1002, damage=1000),
        "arithmetic.jpg": jpeg(64, 48, frame=SOF9_ARITHMETIC),
        "lossless.jpg": jpeg(64, 48, frame=SOF3_LOSSLESS),
        "twelve-bit.jpg": jpeg(64, 48, frame=SOF1_12BIT, precision=12),
        "deep/down/good.jpg": jpeg(64, 48),
        "sp ace & ümlaut #%20.jpg": jpeg(64, 48),
    }
    for name, data in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)
    with open(os.path.join(folder, "huge.jpg"), "wb") as f:    # one byte over 32 MiB; sparse
        f.write(big)
        f.truncate((32 << 20) + 1)
    os.makedirs(os.path.join(folder, "a-directory.jpg"))
    os.mkfifo(os.path.join(folder, "a-fifo.jpg"))
    outside = os.path.join(os.path.dirname(folder), "outside.jpg")
    with open(outside, "wb") as f:
        f.write(jpeg(64, 48))
    for link, target in {
        "link-out.jpg": "../outside.jpg", "link-out-absolute.jpg": outside, "link-up": "..",
        "link-inside.jpg": "good.jpg", "link-loop.jpg": "link-loop.jpg", "link-dangling.jpg": "nothing.jpg",
        "link-proc.jpg": "/proc/self/root" + outside, "link-null.jpg": "/dev/null",
    }.items():
        os.symlink(target, os.path.join(folder, link))
    return files

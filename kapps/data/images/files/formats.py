"""Formats of pictures: how they begin, who reads them, and what to do with those nobody reads."""

from __future__ import annotations

from collections.abc import Iterable

GRAPH = ("JPEG", "PNG", "GIF", "BMP")  # what TensorFlow's graph reads, in served models too
# Since TensorFlow 2.20. Older servers (TensorFlow Serving 2.19) load no graph with that decoder in
# it, so it is only in models whose training data had such pictures.
WEBP = "WebP"
DECODED = (*GRAPH, WEBP)  # where training reads
ANIMATED_WEBP = "animated WebP"
NETPBM = "Netpbm"
# The others become PNG first, see `transcoding`.
NAMES = (*GRAPH, WEBP, "TIFF", NETPBM, "AVIF", "HEIC")
EXTENSIONS = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"}
EXTENSIONS |= {".avif", ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm"}

_FOREIGN_EXTENSIONS = {".svg": "SVG", ".svgz": "SVG", ".psd": "PSD", ".ico": "ICO"}
_FOREIGN_EXTENSIONS |= {".tga": "TGA", ".pcx": "PCX", ".exr": "OpenEXR", ".hdr": "Radiance HDR"}
_FOREIGN_EXTENSIONS |= {".dcm": "DICOM", ".dicom": "DICOM", ".nii": "NIfTI", ".npy": "NumPy array"}
_FOREIGN_EXTENSIONS |= dict.fromkeys((".cr2", ".nef", ".arw", ".dng", ".raf", ".orf"), "raw photo")
_HEIF_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC"}
_HEIF_BRANDS |= {b"avif": "AVIF", b"avis": "AVIF"}
_NETPBM = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ADVICE = {
    "SVG": "SVG has no pixels until it is drawn: rsvg-convert -w 512 A.svg -o A.png",
    "HEIC": "HEIC is read where pillow-heif is installed: pip install pillow-heif",
    "DICOM": "DICOM becomes PNG with dcmj2pnm or pydicom",
    "NumPy array": "NumPy arrays of pictures are read from npz:FILE",
    "AVIF": "AVIF is read by Pillow 11.3 or newer: pip install -U pillow",
}


def sniff(start: bytes) -> str | None:
    """Format of a picture by its first 32 bytes, one of NAMES or ANIMATED_WEBP; or None."""
    if start[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if start[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if start[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if start[:2] == b"BM" and start[6:10] == b"\0\0\0\0":
        return "BMP"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        # RFC 9649, section 2.7: the second bit of the flags.
        animated = start[12:16] == b"VP8X" and len(start) > 20 and start[20] & 2
        return ANIMATED_WEBP if animated else WEBP
    if start[:2] in _NETPBM and start[2:3].isspace() and start[3:4] in b"#0123456789":
        return NETPBM
    if start[:4] in _TIFF:
        return "TIFF"
    if start[4:8] == b"ftyp":
        return _HEIF_BRANDS.get(start[8:12])
    return None


def foreign(start: bytes, suffix: str) -> str | None:
    """Format of a picture that nothing here reads; None for anything else.

    Args:
        start: the first 32 bytes.
        suffix: of the file's name.
    """
    if start[4:8] == b"jP  " or start[:4] == b"\xff\x4f\xff\x51":
        return "JPEG 2000"
    if start[:2] == b"\xff\x0a" or start[4:8] == b"JXL ":
        return "JPEG XL"
    if start.lstrip()[:4] == b"<svg":
        return "SVG"
    return _FOREIGN_EXTENSIONS.get(suffix.lower())


def advice(formats: Iterable[str], one: bool = False) -> str:
    """What to do with pictures in formats that are not read, in words.

    Args:
        formats: their names.
        one: whether it is one picture.
    """
    known = [_ADVICE[name] for name in sorted(set(formats)) if name in _ADVICE]
    return "; ".join([f"convert {'it' if one else 'them'} to PNG or JPEG", *known])

"""What kind of file something is: by the end of its name, else by its first bytes."""

from pathlib import Path
from typing import NamedTuple

from nexus.data.stills.files import IMAGE_EXTENSIONS
from nexus.data.videos.headers import describe_content

# fmt: off
VIDEO_EXTENSIONS = frozenset({
    ".mp4", ".m4v", ".mp4v", ".mov", ".qt", ".3gp", ".3gpp", ".3g2", ".3gpp2", ".f4v", ".mkv",
    ".mk3d", ".webm", ".avi", ".divx", ".mpg", ".mpeg", ".mpe", ".mpv", ".mp2v", ".m1v", ".m2v",
    ".m2p", ".ts", ".mts", ".m2ts", ".m2t", ".trp", ".tp", ".mod", ".tod", ".vob", ".vro", ".evo",
    ".wmv", ".asf", ".dvr-ms", ".wtv", ".flv", ".ogv", ".ogm", ".ogx", ".gif", ".mjpg", ".mjpeg",
    ".mxf", ".gxf", ".dv", ".dif", ".rm", ".rmvb", ".nut", ".y4m", ".ivf", ".h264", ".264",
    ".avc", ".h265", ".265", ".hevc", ".obu", ".dav", ".amv", ".mjp2", ".bik", ".roq", ".nsv",
})
_EXPLAINED = {
    "text files": ".txt .md .rst .log .nfo .readme .license .sha256 .md5 .url",
    "tables and lists": ".csv .tsv .json .jsonl .ndjson .yaml .yml .xml .toml .ini .cfg .xls .xlsx",
    "subtitles": ".srt .vtt .ass .ssa .sub .idx .sbv .lrc",
    "arrays and weights":
        ".npy .npz .pkl .pickle .pt .pth .h5 .hdf5 .mat .parquet .arrow .feather .safetensors "
        ".tfrecord .lmdb .mdb .db .sqlite .flo .pfm",
    "sound": ".wav .mp3 .flac .m4a .m4b .aac .oga .opus .wma .aif .aiff .ac3 .amr .mid",
    "programs and documents":
        ".py .pyc .ipynb .sh .bat .m .c .cpp .h .js .pdf .doc .docx .html .htm .css .ps .ppt .pptx "
        ".exe .dll .so",
    "small copies of videos that cameras keep": ".thm .lrv .lrf .glv",
}
_NOT_READ = {
    "archives": ".zip .tar .gz .tgz .bz2 .xz .7z .rar .zst",
    "unfinished downloads": ".part .crdownload .ytdl .download .aria2 .!ut .tmp",
    "HEIC pictures": ".heic .heif .hif",
    "raw pictures of cameras":
        ".dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .raf .orf .rw2 .pef .srw .x3f .raw .3fr .iiq",
    "pictures of other kinds":
        ".avif .exr .jp2 .j2k .jpf .jxl .jxr .dpx .cin .hdr .psd .svg .ico .icns .tga .pcx .sgi "
        ".xcf .pnm .pbm .dcm .nii .fits .czi .nd2 .lif .svs",
    "raw footage and projects of editors": ".braw .r3d .ari .crm .insv .insp .prproj .drp .veg",
}
# fmt: on


class FileKind(NamedTuple):
    """A kind of file that is no video. `explained`: one expects it beside videos."""

    name: str
    explained: bool


_KINDS = {
    ending: FileKind(name, explained)
    for kinds, explained in ((_EXPLAINED, True), (_NOT_READ, False))
    for name, endings in kinds.items()
    for ending in endings.split()
}
_PICTURE_BRANDS = (b"hei", b"hev", b"mif", b"msf", b"avi", b"jp2", b"jpx", b"jxl", b"crx")
_SOUND_BRANDS = (b"M4A", b"M4B", b"M4P")
_STARTS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"\0\0\1\xba",  # MPEG program stream
    b"\0\0\1\xb3",  # MPEG-1 and MPEG-2
    b"\0\0\0\1\x67",  # H.264
    b"\0\0\0\1\x40\1",  # HEVC
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02",  # MXF
    b"\x1f\x07\x00",  # DV
    b".RMF",
    b"DHAV",
    b"GIF8",
    b"YUV4MPEG2",
    b"DKIF",
    b"nut/multimedia container",
)


def is_video(path: Path) -> bool:
    """Whether a file is a video: by its name or, where that says nothing, by its first bytes."""
    ending = path.suffix.lower()
    if ending in VIDEO_EXTENSIONS:
        return True
    if ending in _KINDS or ending in IMAGE_EXTENSIONS:
        return False
    return _starts_as_video(_head(path))


def kind_of(path: Path) -> FileKind:
    """What a file is that is no video."""
    ending = path.suffix.lower()
    if ending in _KINDS:
        return _KINDS[ending]
    try:
        if not path.is_file():
            return FileKind("files that cannot be opened", False)
        if not path.stat().st_size:
            return FileKind("empty files", True)
        content = describe_content(path)
    except OSError:
        return FileKind("files that cannot be opened", False)
    if _head(path).startswith(b"OggS"):
        return FileKind("sound", True)
    if content == "plain text":
        return FileKind("text files", True)
    known = content != "not a video format that FFmpeg knows"
    return FileKind(f"files of no known ending ({content})" if known else "unknown files", False)


def _head(path: Path) -> bytes:
    try:
        if path.is_file():  # a pipe would be waited for
            with path.open("rb") as file:
                return file.read(600)
    except OSError:
        pass
    return b""


def _starts_as_video(head: bytes) -> bool:
    if head[4:8] == b"ftyp":
        return not head[8:12].startswith((*_PICTURE_BRANDS, *_SOUND_BRANDS))
    if head[4:8] in (b"moov", b"mdat", b"wide", b"skip") or head.startswith(_STARTS):
        return True
    if head.startswith(b"RIFF"):
        return head[8:12] == b"AVI "
    if head.startswith(b"OggS"):
        return b"theora" in head or b"video" in head
    # Transport streams begin a packet every 188 bytes; those of cameras every 192, after a time.
    return any(
        len(head) > first + 2 * step and all(head[first + n * step] == 0x47 for n in range(3))
        for first, step in ((0, 188), (4, 192))
    )

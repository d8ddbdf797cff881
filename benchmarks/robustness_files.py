"""The section of robustness.md on real files, which were tried by hand."""

REAL_FILES = """
## Real files

Whole files, and files that FFmpeg wrote with one fault. Each was decoded to its end by `videozoo check-data` and
opened by `VideoReader`. *noted*: read, with a note in `report.csv`. *error*: refused, with the reason.

| files | number | without a note | noted | error |
|---|---|---|---|---|
| clips of public test suites, copies of one of them | 42 | 37 | 2 (bit flips, cut short) | 3 (no moov, empty) |
| whole files in the containers and codecs that FFmpeg writes | 54 | 51 | 1 (AVIF, a still) | 2 (JPEG XL, WebP) |
| cuts by `-ss -c copy`, 7 sources into 7 containers | 253 | 200 | 0 | 53 (the copy has no frame that decodes) |
| 24 of these containers, the last 40 % missing | 24 | 3 (GIF, raw MJPEG, y4m) | 17 | 4 (the index was at the end) |
| the same, bytes changed or lost in the middle | 90 | 39 | 51 | 0 |
| encrypted: CENC, fragmented CENC, FairPlay, WebM, WMV, DVD, transport streams | 9 | 0 | 0 | 9 |
| pixel formats: 8 to 16 bits, gray, RGB, YUV, alpha, full and limited range | 52 | 46 | 0 | 6 (raw video) |

What happens with each kind:

- Any exception of the decoder while a file is opened or read becomes an error of that file. The run continues.
- Side data that PyAV does not know (spatial video, photos with EXIF) is ignored. Rotation is still applied.
- Encrypted video is refused, because FFmpeg would return gray frames.
- A frame that FFmpeg decodes with errors is read, counted and noted. So are the frames after it up to a keyframe.
- Damage that leaves a valid bit stream is not detected. HEVC, VP9, WMV, GIF and MJPEG have no checksum, and most of the
  39 damaged files without a note use these codecs. Some of the 39 only lost a frame that no other frame needs.
- A file that ends too early gets a note. GIF, MJPEG, y4m and raw streams do not state their length.
- An edit list that hides frames, or a wrong frame count in the header, is not damage.
- 16-bit gray is scaled to 8 bits and alpha is dropped. Pixels without a known range (32-bit integers, floating-point
  numbers) are refused.
- A still picture is a video of one frame, with a note.
- In class folders, files without a video extension are skipped with a warning that names them.
"""

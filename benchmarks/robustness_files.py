"""The section on real files of robustness.md: what was tried by hand, and what became of it."""

REAL_FILES = """
## Real files

Whole files, and files made by FFmpeg with one thing wrong. Each was decoded to its end by `videozoo check-data` and
opened by `VideoReader`. *noted*: read, and `report.csv` says what is wrong. *error*: refused, with the reason.

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

- Anything that a decoder raises while one file is opened or read is an error of that file. The run goes on.
- Side data that PyAV has no name for (spatial video, photos with EXIF) is ignored; rotation is still applied.
- Encrypted video is refused. FFmpeg would give gray frames.
- A frame that FFmpeg decodes with errors is read, counted and noted, and so are those after it up to a keyframe. Damage
  that leaves a valid bit stream cannot be seen: HEVC, VP9, WMV, GIF and MJPEG have no checksum, and most of the 39
  damaged files without a note are of these codecs. Some of the 39 lost nothing but a frame that no other one needs.
- A file that ends before its container does is noted. GIF, MJPEG, y4m and raw streams do not state their length.
- An edit list that hides frames, or a header that counts other frames than are shown, is no damage.
- 16-bit gray is scaled to 8 bits, alpha is dropped, and pixels without a known range (32-bit integers, floating-point
  numbers) are refused.
- A still picture is a video of one frame, with a note.
- Class folders: files that are no videos by their endings are left out, and a warning names them.
"""

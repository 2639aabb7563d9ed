// SPDX-License-Identifier: Apache-2.0
//
// Small image files for the decoder's tests, drawn and written by Pillow 13. All but the grey one, the HEIC
// and the first GIF show the same gradient of 21x13 pixels.

#pragma once

#include <string>
#include <vector>

namespace embedd::test_files {

std::string Jpeg();
std::string ProgressiveJpeg();
std::string CmykJpeg();
std::string Png();
std::string Grey16Png();  // 5x3, values 0, 30, … 420
std::string LossyWebp();
std::string LosslessWebp();
std::string AnimatedWebp();  // 8x8, two frames; the second is red
std::string Gif();           // 2x2
std::string SmallGif();      // interlaced
std::string Bmp();           // 16 colours
std::string Tiff();          // LZW
std::string Avif();
std::string Heic();  // 64x64, HEVC 4:2:0, by libheif and x265
// 100x90 of four such tiles of 64x64: red and green above blue and yellow.
std::string HeicGrid();

// All that are read by default, but the GIF of four pixels.
std::vector<std::string> All();

}  // namespace embedd::test_files

// SPDX-License-Identifier: Apache-2.0
//
// arithmetic_jpeg: writes a JPEG again with arithmetic coding, which Pillow reads but does not write; its
// pixels stay what they are. For damaged_jpeg.py.
//
//   arithmetic_jpeg [progressive] <IN.jpg >OUT.jpg      exit code 1 where the library cannot

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
// clang-format off: it wants stdio before it
#include <jpeglib.h>
// clang-format on

int main(int argc, char** argv) {
  jpeg_decompress_struct in = {};
  jpeg_compress_struct out = {};
  jpeg_error_mgr errors;  // its error_exit ends the program
  in.err = out.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&in);
  jpeg_create_compress(&out);
  jpeg_stdio_src(&in, stdin);
  jpeg_read_header(&in, TRUE);
  jvirt_barray_ptr* coefficients = jpeg_read_coefficients(&in);
  jpeg_copy_critical_parameters(&in, &out);
  out.arith_code = TRUE;
  if (in.saw_Adobe_marker != FALSE) out.write_Adobe_marker = TRUE;
  out.restart_interval = in.restart_interval;
  if (argc > 1 && std::strcmp(argv[1], "progressive") == 0) jpeg_simple_progression(&out);
  jpeg_stdio_dest(&out, stdout);
  jpeg_write_coefficients(&out, coefficients);
  jpeg_finish_compress(&out);
  jpeg_destroy_compress(&out);
  jpeg_destroy_decompress(&in);
  return EXIT_SUCCESS;
}

# SPDX-License-Identifier: Apache-2.0
"""What is right for an image file, whatever its format."""

# Every pixel is there; or pixels are missing, or a checksum over them is wrong.
READ, REFUSE = "read", "refuse"
# Read where Pillow reads it; where it does not, either is right.
AS_PILLOW = "as Pillow"

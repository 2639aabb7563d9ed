# SPDX-License-Identifier: Apache-2.0
"""The wire messages, generated from proto/embedd/v1 by generate_stubs.sh."""

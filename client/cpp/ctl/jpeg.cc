// SPDX-License-Identifier: Apache-2.0
//
// Section and table names are those of ITU-T T.81.

#include "client/cpp/ctl/jpeg.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numbers>
#include <vector>

namespace embedd::ctl {
namespace {

using Block = std::array<float, 64>;

// Table K.1, in rows; used for all three components.
constexpr std::array<int, 64> kQuantisation = {
    16, 11,  10,  16, 24, 40, 51, 61, 12,  12,  14,  19,  26, 58, 60, 55,  14,  13,  16,  24, 40, 57,
    69, 56,  14,  17, 22, 29, 51, 87, 80,  62,  18,  22,  37, 56, 68, 109, 103, 77,  24,  35, 55, 64,
    81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98,  112, 100, 103, 99};

// Numbers of codes of 1 to 16 bits: tables K.3 and K.5.
constexpr std::array<uint8_t, 16> kDcCounts = {0, 1, 5, 1, 1, 1, 1, 1, 1};
constexpr std::array<uint8_t, 16> kAcCounts = {0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125};
// The symbols of K.5 with short codes; the others follow in ascending order.
constexpr std::array<uint8_t, 37> kAcFirst = {0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31,
                                              0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71, 0x14, 0x32,
                                              0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52,
                                              0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72, 0x82};

std::vector<uint8_t> AcSymbols() {
  std::vector<uint8_t> symbols(kAcFirst.begin(), kAcFirst.end());
  for (int run = 0; run < 16; ++run) {
    for (int size = 1; size <= 10; ++size) {
      const auto symbol = static_cast<uint8_t>(run << 4 | size);
      if (std::find(kAcFirst.begin(), kAcFirst.end(), symbol) == kAcFirst.end()) symbols.push_back(symbol);
    }
  }
  return symbols;
}

std::vector<uint8_t> DcSymbols() { return {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}; }

// Places of the coefficients in zigzag order (figure A.6).
std::array<int, 64> Zigzag() {
  std::array<int, 64> order{};
  int k = 0;
  for (int sum = 0; sum < 15; ++sum) {
    for (int i = std::max(0, sum - 7); i <= std::min(sum, 7); ++i) {
      const int row = sum % 2 == 0 ? sum - i : i;
      order[k++] = row * 8 + (sum - row);
    }
  }
  return order;
}

struct Codes {
  std::array<uint16_t, 256> code{};
  std::array<uint8_t, 256> bits{};

  Codes(const std::array<uint8_t, 16>& counts, const std::vector<uint8_t>& symbols) {
    uint16_t next = 0;
    size_t k = 0;
    for (uint8_t length = 1; length <= 16; ++length, next = static_cast<uint16_t>(next << 1)) {
      for (int i = 0; i < counts[length - 1]; ++i, ++k) {
        code[symbols[k]] = next++;
        bits[symbols[k]] = length;
      }
    }
  }
};

class BitWriter {
 public:
  explicit BitWriter(std::string* out) : out_(out) {}
  void Put(uint32_t value, int bits) {
    for (int i = bits; i-- > 0;) {
      byte_ = static_cast<uint8_t>(byte_ << 1 | (value >> i & 1));
      if (++used_ < 8) continue;
      out_->push_back(static_cast<char>(byte_));
      if (byte_ == 0xff) out_->push_back('\0');  // so that it is no marker
      byte_ = 0;
      used_ = 0;
    }
  }
  void Finish() { Put(0x7f, (8 - used_) % 8); }

 private:
  std::string* const out_;
  uint8_t byte_ = 0;
  int used_ = 0;
};

class Encoder {
 public:
  Encoder(std::string_view rgb, uint32_t width, uint32_t height, int quality)
      : rgb_(rgb), width_(width), height_(height), bits_(&out_) {
    const int scale = quality < 50 ? 5000 / quality : 200 - 2 * quality;
    for (size_t i = 0; i < 64; ++i) divisors_[i] = std::clamp((kQuantisation[i] * scale + 50) / 100, 1, 255);
    for (int k = 0; k < 8; ++k) {
      for (int x = 0; x < 8; ++x) {
        const double scaled = k == 0 ? std::sqrt(0.125) : 0.5;
        cosines_[k * 8 + x] = static_cast<float>(scaled * std::cos((2 * x + 1) * k * std::numbers::pi / 16));
      }
    }
  }

  std::string Run() {
    Headers();
    for (uint32_t y = 0; y < height_; y += 16) {
      for (uint32_t x = 0; x < width_; x += 16) {
        for (const uint32_t dy : {0U, 8U}) {
          for (const uint32_t dx : {0U, 8U}) Put(Sample(x + dx, y + dy, 1, 0), 0);
        }
        Put(Sample(x, y, 2, 1), 1);
        Put(Sample(x, y, 2, 2), 2);
      }
    }
    bits_.Finish();
    return out_ + "\xff\xd9";
  }

 private:
  void Segment(char marker, const std::string& body) {
    const size_t size = body.size() + 2;
    out_ += {'\xff', marker, static_cast<char>(size >> 8), static_cast<char>(size & 0xff)};
    out_ += body;
  }

  void Headers() {
    out_ = "\xff\xd8";
    std::string table(1, '\0');
    for (const int place : zigzag_) table += static_cast<char>(divisors_[place]);
    Segment('\xdb', table);
    const auto high = [](uint32_t n) { return static_cast<char>(n >> 8); };
    const auto low = [](uint32_t n) { return static_cast<char>(n & 0xff); };
    Segment('\xc0', {8, high(height_), low(height_), high(width_), low(width_), 3, 1, 0x22, 0, 2, 0x11, 0, 3,
                     0x11, 0});
    const auto huffman = [this](char kind, const std::array<uint8_t, 16>& counts,
                                const std::vector<uint8_t>& symbols) {
      std::string body(1, kind);
      body.append(counts.begin(), counts.end()).append(symbols.begin(), symbols.end());
      Segment('\xc4', body);
    };
    huffman(0x00, kDcCounts, DcSymbols());
    huffman(0x10, kAcCounts, AcSymbols());
    Segment('\xda', {3, 1, 0, 2, 0, 3, 0, 0, 63, 0});
  }

  // One component of a pixel, level-shifted; pixels outside the picture repeat its edge.
  float Pixel(uint32_t x, uint32_t y, int component) const {
    const size_t at = 3 * (size_t{std::min(y, height_ - 1)} * width_ + std::min(x, width_ - 1));
    const auto value = [&](size_t i) { return static_cast<float>(static_cast<uint8_t>(rgb_[at + i])); };
    const float r = value(0), g = value(1), b = value(2);
    if (component == 0) return 0.299F * r + 0.587F * g + 0.114F * b - 128;
    if (component == 1) return -0.168736F * r - 0.331264F * g + 0.5F * b;
    return 0.5F * r - 0.418688F * g - 0.081312F * b;
  }

  // 8x8 values from (x, y) on, each the mean of step * step pixels.
  Block Sample(uint32_t x, uint32_t y, uint32_t step, int component) const {
    Block block{};
    for (uint32_t i = 0; i < 64; ++i) {
      for (uint32_t k = 0; k < step * step; ++k) {
        block[i] += Pixel(x + i % 8 * step + k % step, y + i / 8 * step + k / step, component);
      }
      block[i] /= static_cast<float>(step * step);
    }
    return block;
  }

  // Rows, then columns: the same step twice, each time turning the block on its side.
  Block Transform(Block block) const {
    for (int pass = 0; pass < 2; ++pass) {
      Block turned{};
      for (int row = 0; row < 8; ++row) {
        for (int k = 0; k < 8; ++k) {
          for (int i = 0; i < 8; ++i) turned[k * 8 + row] += block[row * 8 + i] * cosines_[k * 8 + i];
        }
      }
      block = turned;
    }
    return block;
  }

  void PutCoefficient(const Codes& codes, int run, int value) {
    const auto size = std::bit_width(static_cast<unsigned>(std::abs(value)));
    const auto symbol = static_cast<uint8_t>(run << 4 | size);
    bits_.Put(codes.code[symbol], codes.bits[symbol]);
    bits_.Put(static_cast<uint32_t>(value < 0 ? value - 1 : value), size);
  }

  void Put(const Block& samples, int component) {
    const Block block = Transform(samples);
    std::array<int, 64> level{};
    for (int k = 0; k < 64; ++k) {
      const int place = zigzag_[k];
      // AC levels have at most 10 bits (table F.2).
      level[k] =
          std::clamp(static_cast<int>(std::lround(block[place] / static_cast<float>(divisors_[place]))),
                     k == 0 ? -2047 : -1023, k == 0 ? 2047 : 1023);
    }
    PutCoefficient(dc_, 0, level[0] - last_dc_[component]);
    last_dc_[component] = level[0];
    int last = 63;
    while (last > 0 && level[last] == 0) --last;
    for (int k = 1, run = 0; k <= last; ++k) {
      if (level[k] == 0) {
        ++run;
        continue;
      }
      for (; run > 15; run -= 16) bits_.Put(ac_.code[0xf0], ac_.bits[0xf0]);
      PutCoefficient(ac_, run, level[k]);
      run = 0;
    }
    if (last < 63) bits_.Put(ac_.code[0], ac_.bits[0]);
  }

  const std::string_view rgb_;
  const uint32_t width_, height_;
  const std::array<int, 64> zigzag_ = Zigzag();
  const Codes dc_{kDcCounts, DcSymbols()};
  const Codes ac_{kAcCounts, AcSymbols()};
  std::array<int, 64> divisors_{};
  std::array<float, 64> cosines_{};
  std::array<int, 3> last_dc_{};
  std::string out_;
  BitWriter bits_;
};

}  // namespace

std::string EncodeJpeg(std::string_view rgb, uint32_t width, uint32_t height, int quality) {
  return Encoder(rgb, width, height, quality).Run();
}

}  // namespace embedd::ctl

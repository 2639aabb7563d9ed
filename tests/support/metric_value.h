// SPDX-License-Identifier: Apache-2.0
//
// Reads one series out of a scrape, as Prometheus would.

#pragma once

#include <stdexcept>
#include <string>

#include "server/telemetry/metrics.h"

namespace embedd {

// `series`: name and labels as they are written, e.g. embedd_images_total{outcome="ok"}. Throws when absent.
inline double MetricValue(const std::string& scrape, const std::string& series) {
  const std::string text = "\n" + scrape;
  const size_t at = text.find("\n" + series + " ");
  if (at == std::string::npos) throw std::runtime_error("no series " + series);
  return std::stod(text.substr(at + series.size() + 2));
}

inline double MetricValue(Metrics& metrics, const std::string& series) {
  return MetricValue(metrics.Scrape(), series);
}

inline double ImagesTotal(Metrics& metrics, Outcome outcome) {
  return MetricValue(metrics, "embedd_images_total{outcome=\"" + std::string(OutcomeName(outcome)) + "\"}");
}

}  // namespace embedd

// SPDX-License-Identifier: Apache-2.0
//
// Reads one series out of a scrape, as Prometheus would.

#pragma once

#include <algorithm>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "server/telemetry/metrics.h"

namespace embedd {

// `series`: a name, and the labels that matter as they are written, e.g. embedd_images_total{outcome="ok"}.
// Other labels are not looked at; several series that match are added up, as sum() would. Throws when absent.
inline double MetricValue(const std::string& scrape, const std::string& series) {
  const size_t brace = series.find('{');
  const std::string name = series.substr(0, brace);
  std::vector<std::string> labels;  // kind="peak"
  for (size_t at = brace; at < series.size() - 1;) {
    const size_t end = series.find_first_of(",}", series.find('"', series.find('"', at) + 1));
    labels.push_back(series.substr(at + 1, end - at - 1));
    at = end;
  }
  double sum = 0;
  bool found = false;
  std::istringstream lines(scrape);
  for (std::string line; std::getline(lines, line);) {
    const size_t end = line.find_first_of("{ ");
    if (line.substr(0, end) != name) continue;
    const bool matches = std::all_of(labels.begin(), labels.end(), [&](const std::string& label) {
      return line.find("{" + label) != std::string::npos || line.find("," + label) != std::string::npos;
    });
    if (!matches) continue;
    found = true;
    sum += std::stod(line.substr(line.rfind(' ')));
  }
  if (!found) throw std::runtime_error("no series " + series);
  return sum;
}

inline double MetricValue(Metrics& metrics, const std::string& series) {
  return MetricValue(metrics.Scrape(), series);
}

inline double ImagesTotal(Metrics& metrics, Outcome outcome) {
  return MetricValue(metrics, "embedd_images_total{outcome=\"" + std::string(OutcomeName(outcome)) + "\"}");
}

}  // namespace embedd

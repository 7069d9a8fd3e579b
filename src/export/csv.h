#pragma once

#include <string>
#include <vector>

namespace shardscout::exporters {

/// The shortest text that reads back as the same number.
std::string Shortest(double value);

/// Appends a row by RFC 4180: cells quoted where they must be, CR LF at the end.
void AddRow(std::string& csv, const std::vector<std::string>& cells);

}  // namespace shardscout::exporters

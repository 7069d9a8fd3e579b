#pragma once

// How quantities look to people, on a terminal and on a page.

#include <cstdint>
#include <string>

namespace shardscout::text {

/// 1234567 -> "1,234,567".
std::string Grouped(std::int64_t value);

/// Three significant digits, or all before the point: 1234567 -> "1,234,567", 12.345 -> "12.3", 0.012345 -> "0.0123",
/// 0 -> "0"; from 1e15 on and below 1e-4 "1.23e+15".
std::string Number(double value);

/// Seconds with a unit: "48.3 ms", "1.20 s", "12.0 us".
std::string Duration(double seconds);

/// Decimal: "61.2 GB", "512 KB".
std::string Bytes(double bytes);

/// 0.125 -> "12.5 %".
std::string Percent(double share);

}  // namespace shardscout::text

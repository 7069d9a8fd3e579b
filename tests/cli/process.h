#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace shardscout::test {

struct ProcessResult {
  int exit_code = -1;    ///< -1 where a signal ended it.
  int signal = 0;        ///< That signal.
  std::string out, err;  ///< What it wrote.
};

/// Runs a program to its end with empty stdin. `environment` is added to this process's.
///
/// `watch` is called over and over while the program runs; the first signal that it returns (not 0) is sent, once.
ProcessResult RunProcess(const std::vector<std::string>& arguments,
                         const std::map<std::string, std::string>& environment = {},
                         const std::function<int()>& watch = nullptr);

}  // namespace shardscout::test

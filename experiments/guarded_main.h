#pragma once

#include <cstdlib>
#include <exception>
#include <iostream>

namespace shardscout {

/// What `main` of an experiment returns: what `program` does, or failure after an error's message on stderr.
template <class Program>
int GuardedMain(const Program& program) {
  try {
    return program();
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
}

}  // namespace shardscout

#pragma once

#include <gtest/gtest.h>

#include <string>

#include "shardscout/error.h"

namespace shardscout {

/// Runs `run`, which must throw a SpecError at exactly `place`, and returns the error's whole text.
template <class Run>
std::string SpecErrorAt(const std::string& place, Run run) {
  try {
    run();
  } catch (const SpecError& error) {
    EXPECT_EQ(error.place(), place);
    return error.what();
  }
  ADD_FAILURE() << "no SpecError, expected one at " << place;
  return "";
}

}  // namespace shardscout

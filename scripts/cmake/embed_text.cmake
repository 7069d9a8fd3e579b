# embed_text(OUTPUT FUNCTION FILE): writes OUTPUT, which defines std::string_view shardscout::internal::FUNCTION() as the
# bytes of FILE; with an empty FILE as "". See src/embedded_text.h.
function(embed_text output function file)
  set(bytes "")
  set(size 0)
  if(file)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
    file(READ "${file}" hex HEX)
    string(LENGTH "${hex}" digits)
    math(EXPR size "${digits} / 2")
    string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  endif()
  # One byte more, since an array can't be empty.
  file(CONFIGURE OUTPUT "${output}" CONTENT [[
#include "src/embedded_text.h"

namespace shardscout::internal {

std::string_view @function@() {
  static const unsigned char kBytes[] = {
@bytes@
0};
  return {reinterpret_cast<const char*>(kBytes), @size@};
}

}  // namespace shardscout::internal
]] @ONLY)
endfunction()

# Warnings for our own targets only; what is included from elsewhere is SYSTEM.
add_library(shardscout_warnings INTERFACE)
target_compile_options(shardscout_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast -Wnon-virtual-dtor -Woverloaded-virtual)
if(SHARDSCOUT_WERROR)
  target_compile_options(shardscout_warnings INTERFACE -Werror)
endif()

# hf_module(<name> LAYER <n> [DIR <folder under src>] [DEPS <modules of a lower layer>] [LIBS <outside libraries>]
#           [TEST_DEPS <modules>] [TEST_LIBS <libraries>] [FUZZ_DEPS <modules>] [THREADED <filter>])
#
# One folder, one static library hf_<name>, and the checks that keep the layering honest:
#   - configuring fails when a module depends on one that is not in a lower layer;
#   - <name>_linktest links the whole archive with its declared dependencies and nothing else;
#   - tools/tidy.py refuses an include of a module that is not declared (the link test cannot see header-only use).
# With HF_CHECK_HEADERS every header is also compiled alone. <file>_test.cc files become <name>_test, each <file>_fuzz.cc a fuzz target.
# THREADED: the tests that use real threads, as a GoogleTest filter; they also run under ThreadSanitizer, which makes
# the others an order of magnitude slower and can find nothing in them.
#
# Groups to build: unit_tests (all), sanitized_tests (the data path: layers below the programs), threaded_tests,
# e2e_tests (hf_e2e_test below), fuzz_targets, generated (the sources that protoc makes, which the lints need), and
# programs.
find_package(GTest REQUIRED)
foreach(group unit_tests sanitized_tests threaded_tests e2e_tests fuzz_targets generated programs)
  add_custom_target(${group})
endforeach()

set(HF_WARNINGS -Wall -Wextra -Wconversion -Wshadow -Wswitch -Wdelete-non-virtual-dtor -Werror)
# g++ 12 at -O3 sees overlaps in std::string that are not there (GCC bug 105651).
list(APPEND HF_WARNINGS $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)

function(hf_self_contained name dir out)
  file(GLOB hdrs CONFIGURE_DEPENDS ${dir}/*.h)
  set(selfs)
  foreach(h IN LISTS hdrs)
    file(RELATIVE_PATH rel ${PROJECT_SOURCE_DIR}/src ${h})
    get_filename_component(stem ${h} NAME)
    set(self ${CMAKE_BINARY_DIR}/selfs/${name}/${stem}.cc)
    file(CONFIGURE OUTPUT ${self} CONTENT "#include \"${rel}\"\n#include \"${rel}\"\n")
    list(APPEND selfs ${self})
  endforeach()
  set(${out} ${selfs} PARENT_SCOPE)
endfunction()

# FUZZ_DEPS follow the source.
function(hf_fuzz_target module source)
  get_filename_component(stem ${source} NAME_WE)
  add_executable(${stem} ${source})
  list(TRANSFORM ARGN PREPEND hf_ OUTPUT_VARIABLE libs)
  target_include_directories(${stem} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${stem} PRIVATE hf_${module} ${libs} -fsanitize=fuzzer)
  add_dependencies(fuzz_targets ${stem})
  set_target_properties(${stem} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
endfunction()

function(hf_module name)
  cmake_parse_arguments(M "" "LAYER;DIR;THREADED" "DEPS;LIBS;TEST_DEPS;TEST_LIBS;FUZZ_DEPS" ${ARGN})
  if(NOT M_DIR)
    set(M_DIR ${name})
  endif()
  set_property(GLOBAL PROPERTY hf_layer_${name} ${M_LAYER})
  foreach(d IN LISTS M_DEPS)
    get_property(dl GLOBAL PROPERTY hf_layer_${d})
    if(NOT dl LESS M_LAYER)
      message(FATAL_ERROR "module ${name} (layer ${M_LAYER}) may not depend on ${d} (layer '${dl}')")
    endif()
  endforeach()
  set(dir ${PROJECT_SOURCE_DIR}/src/${M_DIR})
  file(GLOB srcs CONFIGURE_DEPENDS ${dir}/*.cc)
  set(tests ${srcs})
  set(fuzzers ${srcs})
  list(FILTER srcs EXCLUDE REGEX "_(test|fuzz)\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")
  set(selfs)
  if(HF_CHECK_HEADERS)
    hf_self_contained(${name} ${dir} selfs)
  endif()
  if(NOT srcs)
    return() # a folder that is still empty
  endif()

  add_library(hf_${name} STATIC ${srcs} ${selfs})
  target_include_directories(hf_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  target_compile_options(hf_${name} PRIVATE ${HF_WARNINGS})
  list(TRANSFORM M_DEPS PREPEND hf_ OUTPUT_VARIABLE libs)
  target_link_libraries(hf_${name} PUBLIC ${libs} ${M_LIBS})

  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/linktest.cc CONTENT "int main() { return 0; }\n")
  add_executable(${name}_linktest ${CMAKE_BINARY_DIR}/linktest.cc)
  target_link_libraries(${name}_linktest PRIVATE "$<LINK_LIBRARY:WHOLE_ARCHIVE,hf_${name}>")

  if(tests AND NOT HF_FUZZ)
    add_executable(${name}_test ${tests})
    target_include_directories(${name}_test PRIVATE ${PROJECT_SOURCE_DIR})
    target_compile_options(${name}_test PRIVATE ${HF_WARNINGS})
    list(TRANSFORM M_TEST_DEPS PREPEND hf_ OUTPUT_VARIABLE test_libs)
    target_link_libraries(${name}_test PRIVATE hf_${name} ${test_libs} ${M_TEST_LIBS} GTest::gmock GTest::gtest_main)
    add_test(NAME ${name} COMMAND ${name}_test)
    set(labels unit)
    add_dependencies(unit_tests ${name}_test ${name}_linktest)
    if(M_LAYER LESS 4)
      list(APPEND labels sanitized)
      add_dependencies(sanitized_tests ${name}_test)
    endif()
    set_tests_properties(${name} PROPERTIES LABELS "${labels}" TIMEOUT 900)
    if(M_THREADED)
      add_test(NAME ${name}_threads COMMAND ${name}_test --gtest_filter=${M_THREADED})
      set_tests_properties(${name}_threads PROPERTIES LABELS threaded TIMEOUT 900)
      add_dependencies(threaded_tests ${name}_test)
    endif()
  endif()
  if(HF_FUZZ)
    foreach(f IN LISTS fuzzers)
      hf_fuzz_target(${name} ${f} ${M_FUZZ_DEPS})
    endforeach()
  endif()
endfunction()

# hf_unhurried(<target>...)
# What waits for people, engines and networks: in a release -O3 would make it no faster, and takes twice as long to
# compile.
function(hf_unhurried)
  foreach(target IN LISTS ARGN)
    target_compile_options(${target} PRIVATE $<$<CONFIG:RelWithDebInfo>:-O1>)
  endforeach()
endfunction()

# hf_e2e_test(<name> <target> [ARGS <word>...] [TIMEOUT <seconds>] [SERIAL])
# A test of real processes: the label e2e, and a part of what the group e2e_tests builds. SERIAL: nothing beside it.
function(hf_e2e_test name target)
  cmake_parse_arguments(E "SERIAL" "TIMEOUT" "ARGS" ${ARGN})
  if(NOT E_TIMEOUT)
    set(E_TIMEOUT 1200)
  endif()
  add_test(NAME ${name} COMMAND ${target} ${E_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS e2e TIMEOUT ${E_TIMEOUT})
  if(E_SERIAL)
    set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
  endif()
  add_dependencies(e2e_tests ${target})
  hf_unhurried(${target})
endfunction()

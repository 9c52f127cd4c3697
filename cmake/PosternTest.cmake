# postern_unit_test(NAME SOURCES … LIBRARIES …): a cmocka program, label "unit".
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)

# Under a sanitizer everything is slower: the tests' own time limits and ctest's grow.
if(POSTERN_SANITIZE)
    set(POSTERN_PATIENCE 4)
else()
    set(POSTERN_PATIENCE 1)
endif()

function(postern_unit_test name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_link_libraries(${name} PRIVATE postern::options ${ARG_LIBRARIES} PkgConfig::CMOCKA)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    add_test(NAME unit.${name} COMMAND ${name})
    math(EXPR timeout "120 * ${POSTERN_PATIENCE}")
    set_tests_properties(unit.${name} PROPERTIES LABELS unit TIMEOUT ${timeout} ENVIRONMENT POSTERN_PATIENCE=${POSTERN_PATIENCE})
endfunction()

# postern_script_test(NAME COMMAND … LABELS … [TIMEOUT s] [COST n] [RUN_SERIAL]): a test program of any language. It gets the folder of the binaries as
# POSTERN_BIN, the checkout as POSTERN_SOURCE, the sanitizer in force as POSTERN_SANITIZE.
function(postern_script_test name)
    cmake_parse_arguments(ARG "RUN_SERIAL" "TIMEOUT;COST;PROCESSORS" "COMMAND;LABELS" ${ARGN})
    if(NOT ARG_TIMEOUT)
        set(ARG_TIMEOUT 120)
    endif()
    math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * ${POSTERN_PATIENCE}")
    add_test(NAME ${name} COMMAND ${ARG_COMMAND})
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT}
        ENVIRONMENT "POSTERN_BIN=${CMAKE_BINARY_DIR}/bin;POSTERN_BUILD=${CMAKE_BINARY_DIR};POSTERN_SOURCE=${PROJECT_SOURCE_DIR};POSTERN_SANITIZE=${POSTERN_SANITIZE};POSTERN_PATIENCE=${POSTERN_PATIENCE}")
    if(ARG_COST)
        set_tests_properties(${name} PROPERTIES COST ${ARG_COST})
    endif()
    if(ARG_PROCESSORS)
        set_tests_properties(${name} PROPERTIES PROCESSORS ${ARG_PROCESSORS})
    endif()
    if(ARG_RUN_SERIAL)
        set_tests_properties(${name} PROPERTIES RUN_SERIAL TRUE)
    endif()
endfunction()

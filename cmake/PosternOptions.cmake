# postern_options: what every target of ours compiles with. Targets link postern::options; nothing global is edited.
add_library(postern_options INTERFACE)
add_library(postern::options ALIAS postern_options)

target_compile_features(postern_options INTERFACE c_std_17)
target_compile_options(postern_options INTERFACE
    -std=gnu17 -Wall -Wextra -Wshadow -Wpointer-arith -Wcast-qual -Wstrict-prototypes -Wmissing-prototypes
    -Wformat=2 -Wundef -Wvla -Wwrite-strings -Wimplicit-fallthrough -Wno-missing-field-initializers
    -fno-common -fno-strict-aliasing -fstack-protector-strong
    $<$<BOOL:${POSTERN_WERROR}>:-Werror>)
target_compile_definitions(postern_options INTERFACE _GNU_SOURCE)
if(NOT POSTERN_SANITIZE)
    target_compile_definitions(postern_options INTERFACE $<$<NOT:$<CONFIG:Debug>>:_FORTIFY_SOURCE=2>)
endif()
target_include_directories(postern_options INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/include)
target_link_options(postern_options INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)

if(POSTERN_SANITIZE)
    target_compile_options(postern_options INTERFACE -fsanitize=${POSTERN_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(postern_options INTERFACE -fsanitize=${POSTERN_SANITIZE})
endif()
if(POSTERN_SANITIZE OR POSTERN_COVERAGE)
    # Reports are written by exit handlers, which a worker otherwise leaves out.
    target_compile_definitions(postern_options INTERFACE POSTERN_TIDY_EXIT)
endif()
if(POSTERN_FUZZ)
    # Coverage for the fuzzer in every object; the driver is linked by the fuzz targets alone.
    target_compile_options(postern_options INTERFACE -fsanitize=fuzzer-no-link)
    target_link_options(postern_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(POSTERN_COVERAGE)
    target_compile_options(postern_options INTERFACE --coverage)
    target_compile_definitions(postern_options INTERFACE POSTERN_COVERAGE_DIR="${CMAKE_BINARY_DIR}")
    target_link_options(postern_options INTERFACE --coverage)
endif()

configure_file(${PROJECT_SOURCE_DIR}/common/version.h.in ${PROJECT_BINARY_DIR}/include/common/version.h @ONLY)

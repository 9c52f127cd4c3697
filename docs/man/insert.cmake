# Makes postern.conf(5): the page with the option list, which the program prints, in the place of @OPTIONS@.
#   cmake -DPROGRAM=posternctl -DINPUT=page.in -DOUTPUT=page -P insert.cmake
execute_process(COMMAND ${PROGRAM} config --manual OUTPUT_VARIABLE options RESULT_VARIABLE result)
if(NOT result EQUAL 0)
    message(FATAL_ERROR "${PROGRAM} config --manual failed: ${result}")
endif()
file(READ ${INPUT} page)
string(STRIP "${options}" options)
string(REPLACE "@OPTIONS@" "${options}" page "${page}")
file(WRITE ${OUTPUT} "${page}")

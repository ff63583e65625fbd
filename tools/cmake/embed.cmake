# Writes the FILES (in order of their names) as one C string constant `const char NAME[]`.
# Bytes are written as hexadecimal numbers: string literals have a length limit in ISO C.
string(REPLACE " " ";" FILES "${FILES}")
list(SORT FILES)
set(hex "")
foreach(file ${FILES})
    file(READ ${file} content HEX)
    string(APPEND hex "${content}")
endforeach()
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REPEAT "0x..," 16 line)
string(REGEX REPLACE "(${line})" "\\1\n" bytes "${bytes}")
file(WRITE ${OUTPUT} "extern const char ${NAME}[];\nconst char ${NAME}[] = {\n${bytes}0};\n")

#include <iostream>
#include <string>

int main() {
    string name = "world";
    std::cout << "hello " << name << std::endl;
    return 0;
}

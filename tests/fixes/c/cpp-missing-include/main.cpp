#include <iostream>

int main() {
    std::vector<int> values = {3, 1, 2};
    std::cout << values.size() << "\n";
    return 0;
}

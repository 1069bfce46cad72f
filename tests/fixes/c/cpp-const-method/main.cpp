#include <iostream>

class Account {
public:
    explicit Account(int cents) : cents_(cents) {}
    int cents() { return cents_; }

private:
    int cents_;
};

static void show(const Account &account) {
    std::cout << account.cents() << "\n";
}

int main() {
    show(Account(5));
    return 0;
}

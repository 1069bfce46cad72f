int helper(int value);

int main(void) {
    return helper(0);
}

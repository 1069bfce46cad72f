int main(void) {
    uint32_t value = 0;
    return (int)value;
}

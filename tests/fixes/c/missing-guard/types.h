struct size {
    int width;
};

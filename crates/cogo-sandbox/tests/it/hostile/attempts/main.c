int main(int argc, char **argv) {
    const struct attempt *const all[] = {kernel, processes, files, network, resources};
    if (argc < 2)
        return UNCLEAR;
    for (size_t subject = 0; subject < sizeof all / sizeof *all; subject++)
        for (const struct attempt *attempt = all[subject]; attempt->name; attempt++)
            if (strcmp(attempt->name, argv[1]) == 0)
                return attempt->run(argc - 2, argv + 2);
    printf("unclear: no attempt is called %s\n", argv[1]);
    return UNCLEAR;
}

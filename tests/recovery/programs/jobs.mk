# Jobs that each hold what MEMORY says, or some processes, for a second.
JOBS := 1 2 3 4 5 6
all: $(JOBS)
$(JOBS):
	$(RUN)
.PHONY: all $(JOBS)

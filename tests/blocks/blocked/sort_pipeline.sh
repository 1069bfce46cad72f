: > blocking
cat | tr a-z A-Z | sort

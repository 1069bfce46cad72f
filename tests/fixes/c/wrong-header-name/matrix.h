#pragma once
int trace(int a, int d);

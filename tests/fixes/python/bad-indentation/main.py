def area(width, height):
    result = width * height
      return result


print(area(2, 3))

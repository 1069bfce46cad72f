def main():
    circle = Circle(2)
    print(circle.area())


main()

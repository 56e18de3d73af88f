print("page later")

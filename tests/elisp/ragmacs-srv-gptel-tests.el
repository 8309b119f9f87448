;;; ragmacs-srv-gptel-tests.el --- Our part of gptel, with the real gptel  -*- lexical-binding: t; -*-

;;; Commentary:

;; The model is `obedient.py': a line "CALL TOOL {…}" becomes a call, and what
;; the tool says comes back as text.  The documentation is the demo site.

;;; Code:

(require 'ragmacs-srv-test)
(require 'gptel nil t)
(require 'ragmacs-srv-gptel nil t)

(declare-function markdown-link-url "ext:markdown-mode" ())

(defconst ragmacs-srv-gptel-test-link "<https://go.dev/doc/gc-guide#GOGC>"
  "Where the demo site explains GOGC.")

(defmacro ragmacs-srv-gptel-deftest (name &rest body)
  "Define the test NAME as BODY, with our tools in gptel and the obedient model."
  (declare (indent 1))
  `(ert-deftest ,name ()
     (skip-unless (featurep 'gptel))
     (let ((gptel-backend (gptel-make-openai "Obedient"
                            :protocol "http" :host (encode-coding-string (getenv "TEST_MODEL") 'us-ascii)
                            :stream t :models '(model)))
           (gptel-model 'model)
           (inhibit-message t))
       (ragmacs-srv-gptel-setup)
       (ragmacs-srv-gptel--ready)
       ,@body)))

(cl-defun ragmacs-srv-gptel-test-ask (prompt &key (stream t) (buffer (current-buffer)) during)
  "Send PROMPT as `gptel-request' does; return its end, its text, and its INFO.
STREAM and BUFFER are as there; DURING is called with what the callback gets."
  (let* ((text "")
         (fsm (gptel-request prompt
                :stream stream
                :buffer buffer
                :transforms gptel-prompt-transform-functions
                :callback (lambda (response _info)
                            (when during (funcall during response))
                            (when (stringp response)
                              (setq text (concat text response)))))))
    (ragmacs-srv-gptel-test-wait-for fsm)
    (list (gptel-fsm-state fsm) text (gptel-fsm-info fsm))))

(defun ragmacs-srv-gptel-test-wait-for (fsm)
  "Wait until FSM has come to an end."
  (ragmacs-srv-test-wait (memq (gptel-fsm-state fsm) '(DONE ERRS ABRT)) 40))

(defmacro ragmacs-srv-gptel-test-ways (&rest body)
  "Run BODY for each way in which gptel can ask, with STREAM bound."
  `(pcase-dolist (`(,stream ,gptel-use-curl) '((t t) (nil t) (nil nil)))
     (ert-info ((format "stream %s, curl %s" stream gptel-use-curl))
       ,@body)))

(defun ragmacs-srv-gptel-test-server-is (&rest command)
  "Let COMMAND speak for the server from now on."
  (ragmacs-srv-disconnect)
  (setq ragmacs-srv-command command))

(defun ragmacs-srv-gptel-test-server-is-silent ()
  "Let the server take everything and say nothing from now on."
  (ragmacs-srv-gptel-test-server-is "sh" "-c" "cat >/dev/null"))

(defun ragmacs-srv-gptel-test-calling-p ()
  "Return non-nil while a tool waits for the server."
  (map-some (lambda (_ request)
              (eq (ragmacs-srv--request-method request) :tools/call))
            ragmacs-srv--requests))

(defun ragmacs-srv-gptel-test-chat (mode prompt &optional stream)
  "Send PROMPT in a chat buffer of MODE; return its state, with it current.
STREAM is as in `gptel-stream'."
  (switch-to-buffer (generate-new-buffer "chat"))
  (funcall mode)
  (setq-local gptel-stream stream)
  (gptel-mode 1)
  (insert prompt)
  (gptel-send)
  (ragmacs-srv-gptel-test-wait-for gptel--fsm-last)
  (gptel-fsm-state gptel--fsm-last))

(defun ragmacs-srv-gptel-test-tool (name &rest values)
  "Call the tool NAME with VALUES; return what it says."
  (let (said)
    (apply (gptel-tool-function (gptel-get-tool (list "ragmacs-srv" name)))
           (lambda (text) (push text said)) values)
    (ragmacs-srv-test-wait said)
    (accept-process-output nil 0.02)
    (should (= (length said) 1))
    (car said)))

;;;; Setting up

(ert-deftest ragmacs-srv-gptel-loading-starts-nothing ()
  (skip-unless (featurep 'gptel))
  (should (featurep 'ragmacs-srv-gptel))
  (should-not (process-list))
  (should-not (gptel-get-preset 'ragmacs)))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-setting-up-twice-is-setting-up-once
  (let ((tools (gptel-get-tool '("ragmacs-srv")))
        (presets (length gptel--known-presets))
        (backend (gptel-get-backend "ragmacs")))
    (ragmacs-srv-gptel-setup)
    (ragmacs-srv-test-wait (not ragmacs-srv-gptel--learning))
    (should (= (length (gptel-get-tool '("ragmacs-srv"))) (length tools)))
    (should (= (length gptel--known-presets) presets))
    (should (eq (gptel-get-backend "ragmacs") backend))
    (should (equal gptel-rewrite-directives-hook '(ragmacs-srv-gptel-rewrite-directive)))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-has-every-tool-of-the-server-as-it-is-there
  (seq-do (lambda (tool)
            (let* ((ours (gptel-get-tool (list "ragmacs-srv" (plist-get tool :name))))
                   (sent (plist-get (aref (gptel--parse-tools gptel-backend (list ours)) 0) :function))
                   (theirs (plist-get tool :parameters)))
              (should (equal (plist-get sent :description) (plist-get tool :description)))
              (should (gptel-tool-async ours))
              (when (gptel-tool-args ours)
                (should (equal (append (map-nested-elt sent '(:parameters :required)) nil)
                               (append (plist-get theirs :required) nil)))
                (should (equal (mapcar (lambda (name) (symbol-name name))
                                       (map-keys (map-nested-elt sent '(:parameters :properties))))
                               (mapcar #'symbol-name (map-keys (plist-get theirs :properties))))))))
          (plist-get (ragmacs-srv-request-and-wait :tools/list nil) :tools)))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-a-preset-keeps-what-the-user-chose
  (let* ((other (progn (gptel-make-tool :name "other" :function #'ignore :description "x" :args nil)
                       (gptel-get-tool "other")))
         (gptel-tools (list other))
         (gptel-system-prompt (lambda () "Be brief.")))
    (dotimes (_ 2)
      (gptel--apply-preset 'ragmacs))
    (should (memq other gptel-tools))
    (should (= (length gptel-tools) (1+ (length (gptel-get-tool '("ragmacs-srv"))))))
    (should (string-prefix-p "Be brief.\n\nAnswer questions" gptel-system-prompt))
    (should (= (length (split-string gptel-system-prompt "Answer questions")) 2))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-the-preset-for-go-has-the-tools-for-go-and-reads-the-module
  (let* ((folder (file-name-as-directory (file-truename (make-temp-file "module" t))))
         (text (nth 1 (with-temp-buffer
                        (write-region "module example.test/m\n" nil (expand-file-name "go.mod" folder) nil 'silent)
                        (setq default-directory folder)
                        (ragmacs-srv-gptel-test-ask "SHOW @ragmacs-go Why?" :buffer (current-buffer)))))
         (sent (json-parse-string text :object-type 'plist :array-type 'list)) ; without "You said: "
         (names (mapcar (lambda (tool) (map-nested-elt tool '(:function :name))) (plist-get sent :tools))))
    (should (member "struct_layout" names))
    (should (member "search_docs" names))
    (should (member "read_page" names))
    (should-not (seq-remove (lambda (name)
                              (or (string-prefix-p "go_" name) (member name '("struct_layout" "search_docs" "read_page"))))
                            names))
    (should (member folder ragmacs-srv--folders))
    (delete-directory folder t)))

(ert-deftest ragmacs-srv-gptel-a-preset-says-what-is-missing ()
  (skip-unless (featurep 'gptel))
  (let ((ragmacs-srv-command '("/nowhere/ragmacs")))
    (ragmacs-srv-gptel-setup)
    (should (string-search "/nowhere/ragmacs"
                           (cadr (should-error (gptel-request "@ragmacs Why?"
                                                 :transforms gptel-prompt-transform-functions)
                                               :type 'user-error))))))

;;;; Tools, called by a model

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-an-answer-cites-the-section
  (ragmacs-srv-gptel-test-ways
   (pcase-let* ((results nil)
                (`(,state ,text ,_)
                 (ragmacs-srv-gptel-test-ask
                  "@ragmacs CALL search_docs {\"query\": \"What does GOGC do?\", \"limit\": 2}"
                  :stream stream
                  :during (lambda (response)
                            (when (eq (car-safe response) 'tool-result)
                              (push (nth 2 (cadr response)) results))))))
     (should (eq state 'DONE))
     (should (= (length results) 1))
     (should (string-search ragmacs-srv-gptel-test-link (car results)))
     (should (equal text (concat "The tool said: " (car results)))))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-a-chat-goes-on-when-the-server-cannot-be-started
  (ragmacs-srv-gptel-test-server-is "/nowhere/ragmacs")
  (ragmacs-srv-gptel-test-ways
   (pcase-let ((`(,state ,text ,_)
                (ragmacs-srv-gptel-test-ask "@ragmacs CALL search_docs {\"query\": \"GOGC\"}" :stream stream)))
     (should (eq state 'DONE))
     (should (string-prefix-p "The tool said: Error: There is no program /nowhere/ragmacs" text)))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-signs-beyond-ascii-reach-the-model-where-gptel-can-send-them
  (ragmacs-srv-gptel-test-ways
   (let ((text (nth 1 (ragmacs-srv-gptel-test-ask
                       "@ragmacs CALL search_docs {\"query\": \"\\u201cGr\\u00f6\\u00dfe\\u201d \\u6f22\"}" :stream stream))))
     (should (string-search (if (or gptel-use-curl (>= emacs-major-version 30))
                                "“Größe” 漢"
                              "\"Gr\\u00f6\\u00dfe\" \\u6f22")
                            text)))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-a-chat-goes-on-when-the-server-dies-over-a-call
  (ragmacs-srv-gptel-test-server-is-silent)
  (let ((killer (run-at-time 0.1 0.1 (lambda ()
                                       (when (ragmacs-srv-gptel-test-calling-p)
                                         (signal-process (jsonrpc--process ragmacs-srv--connection) 'SIGKILL))))))
    (pcase-let ((`(,state ,text ,_)
                 (ragmacs-srv-gptel-test-ask "@ragmacs CALL search_docs {\"query\": \"GOGC\"}")))
      (cancel-timer killer)
      (should (eq state 'DONE))
      (should (string-prefix-p "The tool said: Error: " text)))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-a-chat-in-org-has-live-links
  (require 'org)
  (should (eq (ragmacs-srv-gptel-test-chat
               #'org-mode "*** @ragmacs CALL read_page {\"url\": \"https://go.dev/doc/gc-guide#GOGC\"}" t)
              'DONE))
  (goto-char (point-max))
  (search-backward ragmacs-srv-gptel-test-link)
  (forward-char)
  (should (equal (org-element-property :raw-link (org-element-context))
                 "https://go.dev/doc/gc-guide#GOGC")))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-a-chat-in-markdown-has-live-links
  (skip-unless (require 'markdown-mode nil t))
  (should (eq (ragmacs-srv-gptel-test-chat
               #'markdown-mode "### @ragmacs CALL read_page {\"url\": \"https://go.dev/doc/gc-guide#GOGC\"}" t)
              'DONE))
  (goto-char (point-max))
  (search-backward ragmacs-srv-gptel-test-link)
  (font-lock-ensure)
  (forward-char)
  (should (equal (markdown-link-url) "https://go.dev/doc/gc-guide#GOGC")))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-an-argument-that-is-missing-is-named
  (dolist (arguments '("{}" "{\"query\": null}" "{\"query\": false}" "{\"limit\": 3}"))
    (pcase-let ((`(,state ,text ,_)
                 (ragmacs-srv-gptel-test-ask (concat "@ragmacs CALL search_docs " arguments))))
      (should (eq state 'DONE))
      (should (string-prefix-p "The tool said: Error: search_docs needs the argument `query'" text)))))

;;;; Consent

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-asks-before-a-site-is-read-and-not-otherwise
  (let ((read-page (gptel-tool-confirm (gptel-get-tool '("ragmacs-srv" "read_page")))))
    (should-not (gptel-tool-confirm (gptel-get-tool '("ragmacs-srv" "search_docs"))))
    (should-not (funcall read-page "https://go.dev/doc/gc-guide#GOGC" nil nil)) ; indexed
    (should-not (funcall read-page "https://go.dev/doc/faq" nil nil))           ; its mirror is in the settings
    (should-not (funcall read-page "https://unknown.example/" nil nil))         ; refused without asking
    (should-not (funcall read-page nil nil nil))                                ; so is this
    (should (funcall read-page "https://elsewhere.example/doc" nil nil))
    (ragmacs-srv-gptel-test-server-is-silent)
    (should (funcall read-page "https://go.dev/doc/gc-guide" nil nil)))) ; who knows

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-a-call-waits-for-consent
  (let* ((asked nil)
         (fsm (gptel-request "@ragmacs CALL read_page {\"url\": \"https://elsewhere.example/doc\"}"
                :transforms gptel-prompt-transform-functions
                :callback (lambda (response _info)
                            (when (eq (car-safe response) 'tool-call)
                              (setq asked (cdr response)))))))
    (ragmacs-srv-test-wait asked)
    (should (eq (gptel-fsm-state fsm) 'TOOL))
    (pcase-let ((`((,_tool ,args ,call)) asked))
      (should (equal args '(:url "https://elsewhere.example/doc")))
      (funcall call "The user said no."))
    (ragmacs-srv-gptel-test-wait-for fsm)
    (should (eq (gptel-fsm-state fsm) 'DONE))))

;;;; The contract of a tool

(defconst ragmacs-srv-gptel-test-values
  (list nil :json-false :null t "" " " "GOGC" "https://go.dev/doc/gc-guide" "file:///etc/passwd" "http://127.0.0.1:1/"
        0 -1 1.5 1.0e+INF most-positive-fixnum [] ["GOGC"] [1 nil] '(:a 1) (make-hash-table) 'symbol
        (make-string 100000 ?x) "漢字 🙂" (string #xD800) "\377\376" "a\0b\e[31m")
  "What a model may send as an argument, and what none can.")

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-every-tool-says-one-text-whatever-it-is-given
  (let ((open 0) (wrong nil))
    (dolist (tool (gptel-get-tool '("ragmacs-srv")))
      (cl-loop
       for value in ragmacs-srv-gptel-test-values
       for count from 0
       for size = (length (gptel-tool-args tool))
       do
        (dolist (position (if (zerop size) '(0) (list (mod count size) size))) ; in one place, and in all
          (let ((arguments (make-list (length (gptel-tool-args tool)) "GOGC"))
                (said nil))
            (if (< position (length arguments))
                (setf (nth position arguments) value)
              (setq arguments (mapcar (lambda (_) value) arguments)))
            (cl-incf open)
            (condition-case problem
                (apply (gptel-tool-function tool)
                       (lambda (text)
                         (cl-decf open)
                         (push text said)
                         (unless (and (stringp text) (null (cdr said)) (not (string-empty-p text))
                                      (<= (length text) ragmacs-srv-gptel--reply-chars)
                                      (not (string-match-p "[\200-\237]" text))
                                      (encode-coding-string text 'utf-8))
                           (push (list (gptel-tool-name tool) arguments said) wrong)))
                       arguments)
              (error (push (list (gptel-tool-name tool) arguments problem) wrong)))))
        (ragmacs-srv-test-wait (zerop open) 40)))
    (accept-process-output nil 0.1)
    (should (zerop open))
    (should-not wrong)))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-a-tool-gives-up-in-time
  (ragmacs-srv-gptel-test-server-is-silent)
  (let ((ragmacs-srv-gptel--tool-timeout 0.3))
    (should (string-prefix-p "Error: " (ragmacs-srv-gptel-test-tool "search_docs" "GOGC")))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-a-tool-gives-up-a-server-that-is-stopped
  (ragmacs-srv-gptel-test-server-is-silent)
  (let* ((ragmacs-srv-gptel--tool-timeout 0.3)
         (process (jsonrpc--process (ragmacs-srv-connection)))
         (stop (run-at-time 0.1 nil #'signal-process process 'SIGSTOP)))
    (unwind-protect
        (should (string-prefix-p "Error: " (ragmacs-srv-gptel-test-tool "search_docs" "GOGC")))
      (cancel-timer stop)
      (signal-process process 'SIGKILL))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-a-reply-for-a-chat-that-is-gone-hurts-nobody
  (apply #'ragmacs-srv-gptel-test-server-is "sh" "-c" "read line; { echo \"$line\"; cat; } | \"$@\"" "sh"
         ragmacs-srv-command)
  (let ((buffer (generate-new-buffer "chat")))
    (with-current-buffer buffer
      (gptel-request "@ragmacs CALL search_docs {\"query\": \"GOGC\"}"
        :transforms gptel-prompt-transform-functions
        :callback #'ignore))
    (ragmacs-srv-test-wait (ragmacs-srv-gptel-test-calling-p))
    (kill-buffer buffer)
    (ragmacs-srv-test-wait (not (ragmacs-srv-gptel-test-calling-p)))
    (should (string-search ragmacs-srv-gptel-test-link
                           (ragmacs-srv-gptel-test-tool "search_docs" "GOGC")))))

;;;; Passages in the prompt

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-passages-follow-the-question
  (ragmacs-srv-gptel-test-ways
   (pcase-let ((`(,state ,text ,_)
                (ragmacs-srv-gptel-test-ask "@ragmacs-passages What does GOGC do?" :stream stream)))
     (should (eq state 'DONE))
     (should (string-prefix-p "You said: What does GOGC do?\n\nPassages" text))
     (should (string-search ragmacs-srv-gptel-test-link text)))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-passages-are-for-the-last-question
  (pcase-let ((`(,_ ,text ,_)
               (ragmacs-srv-gptel-test-ask
                '("What is a zebra?" "An animal." "SHOW @ragmacs-passages What does GOMEMLIMIT do?"))))
    (should (string-search "gc-guide#Memory_limit" text))
    (should-not (string-search "Passages" (substring text 0 (string-search "An animal" text))))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-without-the-server-a-prompt-is-sent-as-it-is
  (dolist (command '(("sh" "-c" "cat >/dev/null") ("/nowhere/ragmacs")))
    (apply #'ragmacs-srv-gptel-test-server-is command)
    (let* (state
           (said (ragmacs-srv-test-messages
                  (setq state (ragmacs-srv-gptel-test-ask "@ragmacs-passages What does GOGC do?")))))
      (should (equal (seq-take state 2) '(DONE "You said: What does GOGC do?")))
      (should (seq-some (lambda (line) (string-search "sent without passages" line)) said)))))

;;;; The server as a backend

(defmacro ragmacs-srv-gptel-test-with-ours (&rest body)
  "Run BODY with the server as gptel's backend."
  `(let ((gptel-backend (gptel-get-backend "ragmacs"))
         (gptel-model 'ragmacs))
     (ragmacs-srv-test-wait (cdr (gptel-backend-models gptel-backend)))
     ,@body))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-the-backend-knows-its-models
  (ragmacs-srv-gptel-test-with-ours
   (should (equal (mapcar #'symbol-name (gptel-backend-models gptel-backend))
                  (cons "ragmacs"
                        (mapcar (lambda (collection) (format "ragmacs%s" collection))
                                (map-keys (map-nested-elt (ragmacs-srv-request-and-wait :index/status nil)
                                                          '(:index :collections)))))))
   (should (memq 'ragmacs:guide (gptel-backend-models gptel-backend)))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-the-server-answers-as-a-backend
  (ragmacs-srv-gptel-test-with-ours
   (dolist (mode '(text-mode org-mode))
     (dolist (gptel-model '(ragmacs ragmacs:guide))
       (ragmacs-srv-gptel-test-ways
        (should (eq (ragmacs-srv-gptel-test-chat mode "What does GOGC do?" stream) 'DONE))
        (should (string-search ragmacs-srv-gptel-test-link (buffer-string)))
        (should (plist-get (plist-get (gptel-fsm-info gptel--fsm-last) :tokens) :output)))))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-the-backend-answers-the-last-of-ten-questions
  (ragmacs-srv-gptel-test-with-ours
   (let ((turns (append (cl-loop repeat 10 append '("What is a zebra?" "An animal."))
                        '("Which part of a container's memory should GOMEMLIMIT get?"))))
     (pcase-let ((`(,state ,text ,_) (ragmacs-srv-gptel-test-ask turns)))
       (should (eq state 'DONE))
       (should (string-search "<https://go.dev/doc/gc-guide#Memory_limit>" text))))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-the-backend-takes-content-in-parts
  (ragmacs-srv-gptel-test-with-ours
   (let ((gptel-track-media t)
         (gptel-backend (gptel-get-backend "ragmacs")))
     (put 'ragmacs :capabilities '(media url))
     (unwind-protect
         (pcase-let ((`(,state ,text ,_)
                      (ragmacs-srv-gptel-test-ask '((prompt . "What does GOGC do?")))))
           (should (eq state 'DONE))
           (should (string-search ragmacs-srv-gptel-test-link text)))
       (put 'ragmacs :capabilities nil)))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-what-the-backend-refuses-is-seen
  (ragmacs-srv-gptel-test-with-ours
   (cl-flet ((refused (prompt reason)
               (let* ((said (ragmacs-srv-test-messages
                             (should (eq (ragmacs-srv-gptel-test-chat #'text-mode prompt t) 'ERRS)))))
                 (should (seq-some (lambda (line) (string-search reason line)) said)))))
     (push 'ragmacs:nope (gptel-backend-models gptel-backend)) ; gptel sends no other
     (let ((gptel-model 'ragmacs:nope))
       (refused "What does GOGC do?" "there is no model 'ragmacs:nope'; there are: ragmacs, ragmacs:")
       (refused (make-string 2000000 ?x) "there is no model"))
     (refused (concat "Why? " (make-string 2000000 ?x)) "the question has 2,000,005 characters")
     (cl-letf (((symbol-function 'ragmacs-srv-gptel--token) (lambda () "wrong")))
       (refused "What does GOGC do?" "the bearer token is missing or wrong")))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-a-server-that-ended-is-asked-to-listen-again
  (ragmacs-srv-gptel-test-with-ours
   (should (eq (ragmacs-srv-gptel-test-chat #'text-mode "What does GOGC do?" t) 'DONE))
   (ragmacs-srv-request-and-wait :server/stop nil)
   (ragmacs-srv-test-wait (not (ragmacs-srv-connected-p)))
   (should (eq (ragmacs-srv-gptel-test-chat #'text-mode "What does GOGC do?" t) 'DONE))
   (ragmacs-srv-request-and-wait :server/stop nil)
   (ragmacs-srv-test-wait (not (file-exists-p (plist-get ragmacs-srv-gptel--door :token_file))))
   (ragmacs-srv-gptel-test-server-is "/nowhere/ragmacs")
   (should (string-search "/nowhere/ragmacs"
                          (cadr (should-error (ragmacs-srv-gptel-test-chat #'text-mode "Why?" t)
                                              :type 'user-error))))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-after-an-abort-the-backend-answers-the-next
  (ragmacs-srv-gptel-test-with-ours
   (with-temp-buffer
     (let ((fsm (gptel-request "What does GOGC do?"
                  :stream t
                  :callback (lambda (response _info)
                              (when (stringp response)
                                (gptel-abort (current-buffer)))))))
       (ragmacs-srv-test-wait (eq (gptel-fsm-state fsm) 'WAIT))
       (gptel-abort (current-buffer))
       (should (eq (gptel-fsm-state fsm) 'ABRT))))
   (should (eq (car (ragmacs-srv-gptel-test-ask "What does GOGC do?")) 'DONE))))

;;;; Summaries

(defun ragmacs-srv-gptel-test-summary (url)
  "Return the text of the buffer in which the summary of URL is shown."
  (ragmacs-srv-summarize-url url)
  (with-current-buffer "*ragmacs summary*"
    (ragmacs-srv-test-wait (not (string-prefix-p "waiting" ragmacs-srv--state)))
    (cons ragmacs-srv--state (buffer-string))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-summaries-are-written-by-the-model-of-the-user
  (pcase-let ((`(,state . ,text) (ragmacs-srv-gptel-test-summary "https://go.dev/doc/gc-guide")))
    (should (string-search "written by model" state))
    (should (string-search "You said: A Guide to the Go Garbage Collector" text))
    (should (string-search "[Memory_limit]" text)))
  (let ((ragmacs-srv-gptel-summaries nil))
    (should-not (string-search "written by" (car (ragmacs-srv-gptel-test-summary "https://go.dev/doc/gc-guide")))))
  (let ((gptel-backend (gptel-get-backend "ragmacs")))
    (should-not (string-search "written by" (car (ragmacs-srv-gptel-test-summary "https://go.dev/doc/gc-guide"))))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-a-summary-is-extracted-where-the-model-fails
  (setf (gptel-backend-url gptel-backend) "http://127.0.0.1:1/v1/chat/completions")
  (pcase-let ((`(,state . ,text) (ragmacs-srv-gptel-test-summary "https://go.dev/doc/gc-guide")))
    (should-not (string-search "written by" state))
    (should (string-search "A Guide to the Go Garbage Collector" text))
    (should (string-search "[GOGC]" text))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-a-summary-links-to-sections-of-its-page-only
  (let ((page '(:url "https://a.example/p" :title "P" :sections [(:link "https://a.example/p#s")])))
    (should (equal (mapcar (lambda (point) (list (plist-get point :text) (plist-get point :link)))
                           (plist-get (ragmacs-srv-gptel--summary
                                       page "About it.\n\n- One <https://a.example/p#s>.\n* Two <https://evil.example/>" 'm)
                                      :points))
                   '(("About it." "https://a.example/p")
                     ("One." "https://a.example/p#s")
                     ("Two" "https://a.example/p"))))))

;;;; Rewriting

(defmacro ragmacs-srv-gptel-test-in-go (text &rest body)
  "Run BODY in a buffer of Go with TEXT as the region."
  (declare (indent 1))
  `(with-temp-buffer
     (go-mode)
     (insert ,text)
     (transient-mark-mode 1)
     (push-mark (point-min) t t)
     ,@body))

(ert-deftest ragmacs-srv-gptel-the-region-decides-the-directive ()
  (skip-unless (featurep 'gptel))
  (pcase-dolist (`(,text ,words)
                 '(("// Median returns the middle\n// of the values.\n" "5 to 10 lines")
                   ("type Point struct {\n\tX, Y int\n}\n" "filled at random")
                   ("// A Pair is two.\ntype Pair[T any] struct {\n\tA, B T\n}" "filled at random")
                   ("type ID int\n" nil)
                   ("x := 1 // one\n" nil)
                   ("func f() {}\n" nil)
                   ("\n" nil)))
    (ragmacs-srv-gptel-test-in-go text
      (let ((directive (ragmacs-srv-gptel-rewrite-directive)))
        (if words
            (progn (should (string-search words directive))
                   (should (string-search "Generate ONLY go code" directive)))
          (should-not directive))))))

(ragmacs-srv-gptel-deftest ragmacs-srv-gptel-our-backend-refuses-to-rewrite
  ;; Where it is kept from Emacs 28, which it warns; it works there.
  (dolist (folder (file-expand-wildcards (expand-file-name "../transient-*" (file-name-directory (locate-library "gptel")))))
    (add-to-list 'load-path folder))
  (require 'gptel-rewrite)
  (ragmacs-srv-gptel-test-with-ours
   (dolist (text '("func f() int { return 1 }\n" "// F returns one.\n"))
     (ragmacs-srv-gptel-test-in-go text
       (let* ((fsm nil)
              (said (ragmacs-srv-test-messages
                     (setq fsm (gptel--suffix-rewrite "Make it shorter."))
                     (ragmacs-srv-gptel-test-wait-for fsm))))
         (should (eq (gptel-fsm-state fsm) 'ERRS))
         (should (seq-some (lambda (line) (string-search "canceled" line)) said))
         (should (string-search "choose another backend for gptel-rewrite"
                                (format "%s" (plist-get (gptel-fsm-info fsm) :error))))
         (should (equal (buffer-string) text))
         (should-not (overlays-in (point-min) (point-max))))))))

;;; ragmacs-srv-gptel-tests.el ends here
